"""Segtrial."""
