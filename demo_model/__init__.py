"""The recipe of the small model in the package: its data, its training, its export and its evaluation. See README.md."""
