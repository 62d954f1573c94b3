"""What each command of the command line does; none of these modules imports torch at its top."""
