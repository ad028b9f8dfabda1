//! Floor 9: a master, its workers, and the sockets they share (gunicorn's arbiter).
