//! How many processors this process may use: affinity and cgroup quota.
