//! Makes processes find and call each other. Knows nothing of language models.
