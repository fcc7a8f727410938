import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose'
import { messageOf, SluiceError } from '../../errors/index.ts'
import { isLoopback } from '../../server/index.ts'
import type { Reloadable } from '../reload.ts'
import { readText } from '../secrets.ts'

/** How long an issuer's keys are used before they are fetched again, how soon an unknown key may have them fetched, and how long that may take, in milliseconds. */
const REMOTE = { cacheMaxAge: 10 * 60_000, cooldownDuration: 30_000, timeoutDuration: 5_000 }

/** The keys of an issuer: a JWKS (RFC 7517 §5) at a URL, fetched now and again, or in a file, read again when it changes. */
export interface Keys {
  readonly keys: JWTVerifyGetKey
  readonly reloadables: Reloadable[]
}

/** @throws SluiceError `ERR_SLUICE_CONFIG` if they cannot be had now */
export async function readKeys(from: string): Promise<Keys> {
  return /^[a-z]+:\/\//i.test(from) ? remoteKeys(from) : fileKeys(from)
}

async function remoteKeys(text: string): Promise<Keys> {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url.hostname)))) {
    throw new SluiceError('ERR_SLUICE_USAGE', `--jwt-keys ${JSON.stringify(text)} is not an https:// URL`, {
      remedy: 'Whoever can change the keys on the way can let anybody in: use https, or a file.',
    })
  }
  const { createRemoteJWKSet } = await import('jose')
  const keys = createRemoteJWKSet(url, REMOTE)
  try {
    await keys.reload()
  } catch (cause) {
    // `fetch failed` alone says nothing: its cause does.
    const why = messageOf((cause as Error).cause ?? cause)
    throw new SluiceError('ERR_SLUICE_CONFIG', `--jwt-keys: the keys at ${url} cannot be had: ${why}`, {
      cause,
      remedy:
        'It must answer with a JWKS, {"keys": […]}: see jwks_uri in the issuer’s /.well-known/openid-configuration.',
    })
  }
  return { keys, reloadables: [] }
}

async function fileKeys(file: string): Promise<Keys> {
  const { createLocalJWKSet } = await import('jose')
  const read = () => {
    try {
      return createLocalJWKSet(JSON.parse(readText(file, '--jwt-keys')) as JSONWebKeySet)
    } catch (cause) {
      if (cause instanceof SluiceError) throw cause
      throw new SluiceError('ERR_SLUICE_CONFIG', `--jwt-keys: ${file} is not a JWKS: ${messageOf(cause)}`, {
        cause,
        remedy: 'It must be JSON like {"keys": […]} (RFC 7517).',
      })
    }
  }
  let current = read()
  const apply = () => {
    current = read()
    return ''
  }
  return {
    keys: (header, token) => current(header, token),
    reloadables: [{ what: 'file of keys', files: [file], apply }],
  }
}
