"""Laws of the parameters that remain when a Gaussian block is integrated out, one file each.

A new law is a frozen dataclass in a file of its own that answers what ``law.Law`` asks: its rules,
their ends, the charts in which a far posterior is followed, and a description. A model that names
it in ``exact`` has an oracle; nothing else knows the laws.
"""
