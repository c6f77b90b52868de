"""Which pooling should this network use, and how sure are we?"""
