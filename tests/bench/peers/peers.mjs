// The peers: how each server is started, and how its own native client opens a document.
//
// A client has: append(words), length(), onLength(call), ready (a promise), acknowledged() (whether the server has
// said that it has everything; undefined if it never says so), onAcknowledged(call) (called whenever it says so), light(call) (from here on messages with words are
// counted and not applied), received() (bytes of messages so far), close(). Those of the Yjs family have doc as well, with
// which a client that was away comes back.
import { EventEmitter } from 'node:events'
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const inside = (...parts) => join(here, ...parts)
const modules = (...parts) => inside('node_modules', ...parts)
export const WORDS = 'the quick brown fox '

export class Missing extends Error {}

// Hundreds of clients in one process are meant to be here.
EventEmitter.defaultMaxListeners = 0

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise(resolve => server.close(resolve))
  return port
}

/** A server in a process of its own; `restart` starts it again on the same folder and port. */
export async function start(peer, folder) {
  // A port that is free now may be taken by a connection the next moment.
  const attempt = async () => startAt(peer, folder, await freePort())
  return attempt().catch(error => (error instanceof Missing ? Promise.reject(error) : attempt()))
}

async function startAt(peer, folder, at) {
  const [command, args, env] = PEERS[peer].server(at, folder)
  if (!existsSync(command) && command !== process.execPath) throw new Missing(`${peer} is not installed: run tests/bench/peers/setup`)
  if (!existsSync(modules('ws'))) throw new Missing('the packages are not installed: run tests/bench/peers/setup')
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: 'ignore', cwd: folder })
  const ended = new Promise(resolve => child.once('exit', resolve))
  await reachable(at, ended)
  const stop = async signal => {
    child.kill(signal ?? 'SIGKILL')
    await ended
  }
  return { peer, port: at, pid: child.pid, stop, restart: async signal => (await stop(signal), startAt(peer, folder, at)) }
}

async function reachable(port, ended) {
  let gone = false
  ended.then(() => (gone = true))
  for (let tries = 0; tries < 600; tries++) {
    if (gone) throw new Error('the server ended as soon as it was started')
    if (await fetch(`http://127.0.0.1:${port}/`).then(() => true, () => false)) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  throw new Error('the server did not come up within 30 s')
}

/** A socket that knows how much came, and can be told to count messages instead of handing them on. */
async function countingSocket() {
  const { WebSocket } = await import('ws')
  return class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols)
      countingSocket.last = this
      this.received = 0
    }
    emit(event, data, ...rest) {
      if (event === 'message') {
        this.received += data.byteLength ?? data.length
        if (this.light && Buffer.from(data).includes('quick brown')) {
          this.light()
          return true
        }
      }
      return super.emit(event, data, ...rest)
    }
  }
}

/** What the clients of the Yjs family share. */
async function yjs(name, kept, connect) {
  const Y = await import('yjs')
  const doc = kept ?? new Y.Doc()
  const text = doc.getText('text')
  const Socket = await countingSocket()
  const { ready, acknowledged, onAcknowledged, socket, close } = await connect(doc, name, Socket)
  return {
    doc,
    append: words => text.insert(text.length, words),
    splice: (at, removed, words) => {
      if (removed) text.delete(at, removed)
      if (words) text.insert(at, words)
    },
    batch: work => doc.transact(work),
    length: () => text.length,
    onLength: call => text.observe(() => call(text.length)),
    ready,
    acknowledged,
    onAcknowledged,
    light: call => (socket().light = call),
    received: () => socket()?.received ?? 0,
    close,
    name,
  }
}

const once = (emitter, event, holds = () => true) =>
  new Promise(resolve => emitter.on(event, value => holds(value) && resolve()))

export const PEERS = {
  'y-websocket': {
    server: port => [process.execPath, [modules('@y', 'websocket-server', 'src', 'server.js')], { HOST: '127.0.0.1', PORT: String(port) }],
    keeps: false,
    open: (port, name, kept) =>
      yjs(name, kept, async (doc, name, Socket) => {
        const { WebsocketProvider } = await import('y-websocket')
        const options = { WebSocketPolyfill: Socket, disableBc: true }
        const provider = new WebsocketProvider(`ws://127.0.0.1:${port}`, name, doc, options)
        const close = () => provider.destroy()
        return { ready: once(provider, 'sync', synced => synced), acknowledged: undefined, socket: () => provider.ws, close }
      }),
  },
  'y-sweet': {
    server: (port, folder) => [inside('bin', 'y-sweet'), ['serve', '--host', '127.0.0.1', '--port', String(port), folder], {}],
    keeps: true,
    open: (port, name, kept) =>
      yjs(name, kept, async (doc, name, Socket) => {
        const [{ YSweetProvider }, { DocumentManager }] = [await import('@y-sweet/client'), await import('@y-sweet/sdk')]
        const manager = new DocumentManager(`ys://127.0.0.1:${port}`)
        const token = () => manager.getOrCreateDocAndToken(name)
        const provider = new YSweetProvider(token, name, doc, { WebSocketPolyfill: Socket, showDebuggerLink: false })
        const close = () => provider.destroy()
        const acknowledged = () => !provider.hasLocalChanges
        const onAcknowledged = call => provider.on('local-changes', has => has || call())
        return { ready: once(provider, 'sync', synced => synced), acknowledged, onAcknowledged, socket: () => provider.websocket, close }
      }),
  },
  hocuspocus: {
    server: (port, folder) => [process.execPath, [inside('hocuspocus.mjs'), String(port), folder], {}],
    keeps: true,
    open: (port, name, kept) =>
      yjs(name, kept, async (doc, name, Socket) => {
        const { HocuspocusProvider, HocuspocusProviderWebsocket } = await import('@hocuspocus/provider')
        const websocketProvider = new HocuspocusProviderWebsocket({ url: `ws://127.0.0.1:${port}`, WebSocketPolyfill: Socket })
        const provider = new HocuspocusProvider({ websocketProvider, name, document: doc })
        provider.attach()
        const close = () => (provider.destroy(), websocketProvider.destroy())
        const acknowledged = () => provider.unsyncedChanges === 0
        const onAcknowledged = call => provider.on('unsyncedChanges', ({ number }) => number || call())
        return { ready: once(provider, 'synced'), acknowledged, onAcknowledged, socket: () => websocketProvider.webSocket, close }
      }),
  },
  'automerge-repo': {
    server: (port, folder) => [process.execPath, [modules('@automerge', 'automerge-repo-sync-server', 'src', 'index.js')], { PORT: String(port), DATA_DIR: folder }],
    keeps: true,
    open: automergeRepo,
  },
}

const pause = () => new Promise(resolve => setTimeout(resolve, 50))

/** A document has no name of one's own there: the first who opens a name makes it, in this process. */
const urls = new Map()
async function automergeRepo(port, name) {
  const { Repo, updateText, splice } = await import('@automerge/automerge-repo')
  const { WebSocketClientAdapter } = await import('@automerge/automerge-repo-network-websocket')
  const adapter = new WebSocketClientAdapter(`ws://127.0.0.1:${port}`)
  const repo = new Repo({ network: [adapter], sharePolicy: async () => true })
  let received = 0
  await adapter.whenReady()
  adapter.socket.addEventListener('message', ({ data }) => (received += data.byteLength ?? data.length))
  const made = !urls.has(name)
  // What has not come to the server yet is said to be unavailable.
  const find = tries => repo.find(urls.get(name)).catch(error => (tries > 0 ? pause().then(() => find(tries - 1)) : Promise.reject(error)))
  const handle = made ? repo.create({ text: '' }) : await find(100)
  urls.set(name, handle.url)
  await handle.whenReady()
  const length = () => handle.doc()?.text.length ?? 0
  const edit = (at, removed, words) => handle.change(doc => splice(doc, ['text'], at, removed, words))
  return {
    append: words => edit(length(), 0, words),
    bulk: steps => handle.change(doc => steps.forEach(([at, removed, words]) => splice(doc, ['text'], at, removed, words))),
    length,
    onLength: call => handle.on('change', () => call(length())),
    ready: Promise.resolve(),
    acknowledged: undefined,
    received: () => received,
    close: () => repo.shutdown(),
    name,
  }
}
