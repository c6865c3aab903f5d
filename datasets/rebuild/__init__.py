"""From a public source to the files of a data set, line by line the same on every machine."""
