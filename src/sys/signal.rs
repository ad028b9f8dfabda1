//! Signal masks, dispositions, signalfd, and a signal to one thread.
