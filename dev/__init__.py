"""Tools for working on the provider; none of them is part of the package."""
