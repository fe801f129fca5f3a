"""The expression language of definitions: CEL in `{{ }}`."""
