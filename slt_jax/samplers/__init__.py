"""Samplers of tempered posteriors: each takes a density split in prior and likelihood."""
