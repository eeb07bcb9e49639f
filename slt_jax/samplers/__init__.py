"""Samplers of tempered posteriors, one file each: all take a density and answer with Draws."""
