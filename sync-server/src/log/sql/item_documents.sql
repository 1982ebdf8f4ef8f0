SELECT item.place, item.kind, item.hash, chain.document
FROM item LEFT JOIN chain ON chain.workspace = item.place >> 40 AND chain.chain = item.chain
WHERE item.place BETWEEN ?1 AND ?2 ORDER BY item.place;
