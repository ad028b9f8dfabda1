//! What the main executable is: its load bias, its executable segments, its identity.
