"""The cluster's certificate authority and the files of keys."""
