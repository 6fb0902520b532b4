//! Every configuration property as data.
