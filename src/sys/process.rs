//! fork, pidfds, exit statuses, parent-death signals, life lines, limits.
