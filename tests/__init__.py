"""The tests, one package for each lane, and what they share: the lab, fakes, waiting."""
