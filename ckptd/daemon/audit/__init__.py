"""Whether peers have what they claim: one block of each claim, drawn at random, now and then."""
