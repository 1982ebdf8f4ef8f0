// Runs one workload on one peer and prints a JSON line a figure: node drive.mjs PEER WORKLOAD [--NAME VALUE]…
//
// The server runs in a process of its own, the clients in this one; as tombolo-bench does it. An open loop counts
// from the moment an edit was due, so a stall is seen by every edit behind it.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { Missing, PEERS, WORDS, start } from './peers.mjs'

const PATIENCE_MS = 120_000
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const figure = (metric, unit, value) => process.stdout.write(`${JSON.stringify({ metric, unit, value })}\n`)
const complain = text => process.stderr.write(`${text}\n`)
// The clients talk; what counts here is figures.
for (const level of ['log', 'info', 'warn', 'error', 'debug']) console[level] = () => {}

async function until(what, holds) {
  const end = performance.now() + PATIENCE_MS
  while (!holds()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${PATIENCE_MS / 1000} s`)
    await sleep(1)
  }
}

function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

const rssKib = pid => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1])

function percentiles(samples) {
  const sorted = samples.toSorted((one, other) => one - other)
  const at = share => sorted[Math.round((sorted.length - 1) * share)]
  figure('p50_ms', 'ms', at(0.5))
  figure('p99_ms', 'ms', at(0.99))
}

async function open(server, name, kept) {
  const client = await PEERS[server.peer].open(server.port, name, kept)
  let timer
  const late = new Promise((_, reject) => (timer = setTimeout(reject, PATIENCE_MS, new Error('a client did not get in step'))))
  await Promise.race([client.ready, late])
  clearTimeout(timer)
  return client
}

/** Edits by the clock; returns when each was due. */
async function edits(writer, count, perSecond) {
  const first = performance.now() + 100
  const due = Array.from({ length: count }, (_, nth) => first + (nth * 1000) / perSecond)
  for (const at of due) {
    while (performance.now() < at - 1.5) await sleep(1)
    while (performance.now() < at);
    writer.append(WORDS)
    await sleep(0)
  }
  return due
}

async function live(server, { edits: count }) {
  const [writer, reader] = [await open(server, 'live'), await open(server, 'live')]
  writer.append(WORDS)
  await until('the first edit at the reader', () => reader.length() >= WORDS.length)
  const arrived = []
  reader.onLength(length => {
    const now = performance.now()
    while (arrived.length < length / WORDS.length - 1) arrived.push(now)
  })
  const cpu = cpuSeconds(server.pid)
  const due = await edits(writer, count, 100)
  await until('all edits at the reader', () => arrived.length >= count)
  percentiles(due.map((at, nth) => Math.max(0, arrived[nth] - at)))
  figure('cpu_s', 's', cpuSeconds(server.pid) - cpu)
  figure('rss_kib', 'KiB', rssKib(server.pid))
}

async function fanOut(server, { readers, edits: count }) {
  const writer = await open(server, 'fan-out')
  writer.append(WORDS)
  const all = []
  for (let nth = 0; nth < readers; nth++) all.push(await open(server, 'fan-out'))
  await until('all readers in step', () => all.every(reader => reader.length() >= WORDS.length))
  const arrivals = all.map(() => [])
  all.forEach((reader, nth) => {
    const note = () => arrivals[nth].push(performance.now())
    if (reader.light) reader.light(note)
    else reader.onLength(length => { while (arrivals[nth].length < length / WORDS.length - 1) note() })
  })
  const [cpu, received] = [cpuSeconds(server.pid), all.reduce((sum, reader) => sum + reader.received(), 0)]
  const due = await edits(writer, count, 20)
  await until('all edits at all readers', () => arrivals.every(times => times.length >= count))
  percentiles(arrivals.flatMap(times => due.map((at, nth) => Math.max(0, times[nth] - at))))
  figure('cpu_s', 's', cpuSeconds(server.pid) - cpu)
  figure('rss_kib', 'KiB', rssKib(server.pid))
  const bytes = all.reduce((sum, reader) => sum + reader.received(), 0) - received
  figure('bytes', 'B', bytes / readers / count)
}

async function idle(server, { connections }) {
  for (let nth = 0; nth < 8; nth++) (await open(server, `warm-${nth}`)).append(WORDS)
  await sleep(2000)
  const before = rssKib(server.pid)
  for (let nth = 0; nth < connections; nth++) (await open(server, `idle-${nth}`)).append(WORDS)
  await sleep(2000)
  figure('rss_kib', 'KiB', rssKib(server.pid))
  figure('rss_kib_per_session', 'KiB', (rssKib(server.pid) - before) / connections)
}

/** Every client edits once a second, for ten seconds, each at a moment of its own; an edit counts until it is acknowledged. */
async function busy(server, { connections }) {
  const [clients, spans] = [[], []]
  for (let nth = 0; nth < connections; nth++) clients.push(await open(server, `busy-${nth}`))
  const began = new Map()
  for (const client of clients) {
    client.append(WORDS)
    if (client.acknowledged) await until('the first edit at the server', client.acknowledged)
    client.onAcknowledged?.(() => {
      if (began.has(client)) spans.push(performance.now() - began.get(client))
      began.delete(client)
    })
  }
  const [cpu, start, edits] = [cpuSeconds(server.pid), performance.now() + 1000, 10 * connections]
  for (let nth = 0; nth < edits; nth++) {
    while (performance.now() < start + (nth * 1000) / connections) await sleep(1)
    const client = clients[nth % connections]
    began.set(client, performance.now())
    client.append(WORDS)
  }
  if (clients[0].onAcknowledged) {
    await until('all edits at the server', () => spans.length >= edits)
    percentiles(spans)
  } else await sleep(1000)
  figure('cpu_s', 's', cpuSeconds(server.pid) - cpu)
}

async function coldFetch(server, { trace }) {
  if (!PEERS[server.peer].keeps) throw new Missing(`${server.peer} keeps nothing over a restart`)
  const { txns, endContent } = JSON.parse(gunzipSync(readFileSync(trace)))
  const steps = txns.flatMap(txn => txn.patches)
  const writer = await open(server, 'paper')
  if (writer.bulk) writer.bulk(steps)
  else for (let at = 0; at < steps.length; at += 1000) writer.batch(() => steps.slice(at, at + 1000).forEach(step => writer.splice(...step)))
  if (writer.acknowledged) await until('the paper at the server', writer.acknowledged)
  // What the server keeps it writes when it likes to: none of them says when.
  await sleep(15_000)
  writer.close()
  const again = await server.restart('SIGTERM')
  const began = performance.now()
  const reader = await open(again, 'paper')
  await until('the whole paper', () => reader.length() >= endContent.length)
  figure('seconds', 's', (performance.now() - began) / 1000)
  figure('bytes', 'B', reader.received())
  await again.stop()
}

/** The away client has the first edit of each document; automerge-repo's, which keeps none in memory, has nothing. */
async function catchUp(server, { documents }) {
  const names = Array.from({ length: documents }, (_, nth) => `catch-up-${nth}`)
  const [writers, kept] = [[], []]
  for (const name of names) {
    const writer = await open(server, name)
    writer.append(WORDS)
    writers.push(writer)
    if (!writer.doc) continue
    const reader = await open(server, name)
    await until('the first edit', () => reader.length() >= WORDS.length)
    reader.close()
    kept.push(reader.doc)
  }
  writers.forEach(writer => writer.append(WORDS))
  for (const writer of writers) if (writer.acknowledged) await until('all at the server', writer.acknowledged)
  await sleep(1000)
  const began = performance.now()
  const readers = await Promise.all(names.map((name, nth) => open(server, name, kept[nth])))
  await until('all documents', () => readers.every(reader => reader.length() >= 2 * WORDS.length))
  figure('seconds', 's', (performance.now() - began) / 1000)
  figure('bytes', 'B', readers.reduce((sum, reader) => sum + reader.received(), 0))
}

async function kill(server, { rounds }) {
  const ratios = []
  let at = server
  for (let round = 0; round < rounds; round++) {
    const writer = await open(at, `kill-${round}`)
    for (let nth = 0; nth < 5; nth++) {
      writer.append(WORDS)
      if (writer.acknowledged) await until('an acknowledgement', writer.acknowledged)
      else await sleep(50)
    }
    await at.stop('SIGKILL')
    writer.close()
    at = await at.restart()
    const reader = await open(at, `kill-${round}`).catch(() => undefined)
    await sleep(300)
    ratios.push((reader?.length() ?? 0) / WORDS.length / 5)
    reader?.close()
  }
  figure('kept_ratio', '1', ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length)
  await at.stop()
}

const WORKLOADS = { live, 'fan-out': fanOut, idle, busy, 'cold-fetch': coldFetch, 'catch-up': catchUp, kill }

const [peer, workload, ...rest] = process.argv.slice(2)
const options = Object.fromEntries(rest.flatMap((word, at) => (word.startsWith('--') ? [[word.slice(2), rest[at + 1]]] : [])))
const run = WORKLOADS[workload]
if (!PEERS[peer] || !run) {
  complain(`node drive.mjs ${Object.keys(PEERS).join('|')} ${Object.keys(WORKLOADS).join('|')} [--NAME VALUE]…`)
  process.exit(2)
}
const folder = mkdtempSync(join(tmpdir(), 'tombolo-peer-'))
let server
try {
  server = await start(peer, folder)
  const numbers = Object.entries(options).map(([name, value]) => [name, Number.isNaN(Number(value)) ? value : Number(value)])
  await run(server, { edits: 200, readers: 50, connections: 200, documents: 200, rounds: 5, ...Object.fromEntries(numbers) })
  process.exitCode = 0
} catch (error) {
  complain(String(error.message ?? error))
  process.exitCode = error instanceof Missing ? 3 : 1
} finally {
  await server?.stop().catch(() => {})
  rmSync(folder, { recursive: true, force: true })
  process.exit()
}
