"""Full versions made of chains: what deltas say of a full version, applied into new files.

What is read is verified by the manifests, what is made by the sums that the deltas have of each
tensor. It gets its name by one rename, when all of it is durable.
"""
