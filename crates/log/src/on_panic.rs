//! [`OnPanic`]: what is done if the thread panics before the guard goes out of scope, and only then.

/// See the module. Must not panic itself: the process would end.
pub(crate) struct OnPanic<F: Fn()>(pub F);

impl<F: Fn()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}
