"""The commands of the command line, one module each; `faceinsight.cli` puts them together."""
