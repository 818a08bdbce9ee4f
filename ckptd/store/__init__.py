"""The disk: roots, publishing, staging and placing, journal and catalog, hashing."""
