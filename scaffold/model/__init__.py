"""The model of a destination: members of a list of a vendor that does not exist. The contract suite plays it, too.

Every file here becomes a file of a new destination; `scaffold.writing` says which.
"""
