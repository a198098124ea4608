"""The HTTP edge: decode, call a service, encode. Wire structs live here and go no further in."""
