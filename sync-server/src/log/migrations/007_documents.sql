-- A device that asks for some documents has their chains listed.
CREATE INDEX chain_of_document ON chain (workspace, document);
