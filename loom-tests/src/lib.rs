//! Helpers shared by the models.
