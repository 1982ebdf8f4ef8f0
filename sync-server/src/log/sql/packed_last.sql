SELECT max(place) FROM packed;
