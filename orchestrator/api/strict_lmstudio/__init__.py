"""The strict mode: LM Studio's recorded behaviour on its own routes, instead of our extensions."""
