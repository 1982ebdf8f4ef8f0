UPDATE workspace SET bytes = bytes - ?2, pruned = max(pruned, ?3) WHERE row = ?1;
