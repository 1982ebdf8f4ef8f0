// The hocuspocus server as its guide sets it up: one file a document, written when the document has been quiet for a while.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Database } from '@hocuspocus/extension-database'
import { Server } from '@hocuspocus/server'

const [port, folder] = process.argv.slice(2)
const file = name => join(folder, encodeURIComponent(name))
const store = new Database({
  fetch: async ({ documentName }) => (existsSync(file(documentName)) ? readFileSync(file(documentName)) : null),
  store: async ({ documentName, state }) => writeFileSync(file(documentName), state),
})
await new Server({ port: Number(port), address: '127.0.0.1', quiet: true, extensions: [store] }).listen()
