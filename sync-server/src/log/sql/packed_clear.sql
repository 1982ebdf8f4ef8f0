DELETE FROM packed;
