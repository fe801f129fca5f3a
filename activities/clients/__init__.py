"""The seams that steps reach the world through."""
