"""Stations of the way of the data, one file each, thin: take inputs, call one pure function, return value and facts."""
