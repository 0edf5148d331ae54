"""The waist: one frozen, checked object between training and firmware, its file and its interpreter."""
