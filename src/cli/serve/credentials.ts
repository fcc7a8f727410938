import { randomBytes } from 'node:crypto'
import { formatHostPort, type HostPort, parseTokenFile, type TokenEntry } from '../../config/index.ts'
import { SluiceError } from '../../errors/index.ts'
import {
  AnyAuth,
  type Auth,
  CertificateAuth,
  isLoopback,
  JwtAuth,
  Networks,
  NoAuth,
  PasswordAuth,
  ProxyUserAuth,
  type Server,
  TokenAuth,
} from '../../server/index.ts'
import type { Reloadable } from '../reload.ts'
import type { Report } from '../report.ts'
import { environmentToken, readSecret } from '../secrets.ts'
import { readKeys } from './jwks.ts'
import type { ServeFlags } from './options.ts'

/** Who may come in. */
export interface Credentials {
  readonly auth: Auth
  /** The token that was made, where nothing else was given. */
  readonly made?: string
  /** What is read again when its files change, or at SIGHUP. */
  reloadables(server: Server): Reloadable[]
}

/**
 * Reads who may come in; without any credentials a random token is made, for loopback only.
 *
 * @throws SluiceError `ERR_SLUICE_USAGE`, `ERR_SLUICE_CONFIG`
 */
export async function readCredentials(flags: ServeFlags, listen: HostPort, report: Report): Promise<Credentials> {
  const tokens = readTokens(flags)
  const others = [...certificateAuth(flags), ...proxyAuth(flags)]
  const jwt = await readJwt(flags, report)
  const some = tokens.length > 0 || others.length > 0 || jwt !== undefined
  if (!flags.auth) {
    if (!some) return { auth: new NoAuth(), reloadables: () => [] }
    throw new SluiceError('ERR_SLUICE_USAGE', '--no-auth and a token, or other credentials, contradict each other', {
      remedy: 'Give one of them.',
    })
  }
  if (!some) return madeToken(listen)
  const token = new TokenAuth(tokens)
  const password = new PasswordAuth(tokens)
  const auth = new AnyAuth([token, password, ...others, ...(jwt === undefined ? [] : [jwt.auth])])
  const replace = (entries: readonly TokenEntry[]) => {
    token.replace(entries)
    password.replace(entries)
  }
  return {
    auth,
    reloadables: (server) => [...tokenFile(flags, server, replace), ...(jwt === undefined ? [] : jwt.reloadables)],
  }
}

function madeToken(listen: HostPort): Credentials {
  if (!isLoopback(listen.host)) {
    throw new SluiceError(
      'ERR_SLUICE_CONFIG',
      `listening on ${formatHostPort(listen)} without credentials would open it to everybody`,
      {
        remedy:
          'Give --token-file FILE (sluice token new NAME --token-file FILE makes one) or SLUICE_TOKEN, or listen on loopback: --listen 8443.',
      },
    )
  }
  const made = randomBytes(24).toString('base64url')
  return { auth: new TokenAuth([{ name: 'made', token: made }]), made, reloadables: () => [] }
}

function certificateAuth({ clientCa, clientName }: ServeFlags): Auth[] {
  return clientCa === undefined ? [] : [new CertificateAuth(clientName)]
}

function proxyAuth({ userHeader, trustedProxy = [] }: ServeFlags): Auth[] {
  if (userHeader === undefined) return []
  if (!/^[A-Za-z0-9-]+$/.test(userHeader)) {
    throw new SluiceError('ERR_SLUICE_USAGE', `--user-header ${JSON.stringify(userHeader)} is not the name of a header`)
  }
  if (trustedProxy.length === 0) {
    throw new SluiceError('ERR_SLUICE_USAGE', '--user-header needs to know which proxy to believe', {
      remedy: 'Give its address: --trusted-proxy 10.0.0.7.',
    })
  }
  return [new ProxyUserAuth(userHeader, new Networks(trustedProxy))]
}

async function readJwt(
  { jwtKeys, jwtIssuer, jwtAudience, jwtNameClaim, jwtGroupsClaim }: ServeFlags,
  report: Report,
): Promise<{ readonly auth: Auth; readonly reloadables: Reloadable[] } | undefined> {
  if (jwtKeys === undefined) return undefined
  if (jwtIssuer === undefined || jwtAudience === undefined) {
    throw new SluiceError('ERR_SLUICE_USAGE', '--jwt-keys needs --jwt-issuer and --jwt-audience', {
      remedy: 'Without them, tokens that were made for others would be taken.',
    })
  }
  const { keys, reloadables } = await readKeys(jwtKeys)
  const auth = new JwtAuth({
    keys,
    issuer: jwtIssuer,
    audience: jwtAudience,
    nameClaim: jwtNameClaim,
    groupsClaim: jwtGroupsClaim,
    refused: (why) => report.detail(`a JWT was not taken: ${why}`),
  })
  return { auth, reloadables }
}

/** @param least 0 when it is read again: a file from which all are gone lets nobody in */
function readTokens(flags: ServeFlags, least: 0 | 1 = 1): TokenEntry[] {
  const fromEnvironment = environmentToken()
  return [
    ...(flags.tokenFile === undefined
      ? []
      : parseTokenFile(readSecret(flags.tokenFile, '--token-file', flags.tokenFileMode), flags.tokenFile, least)),
    ...(fromEnvironment === undefined ? [] : [{ name: 'env', token: fromEnvironment }]),
  ]
}

function tokenFile(flags: ServeFlags, server: Server, replace: (entries: readonly TokenEntry[]) => void): Reloadable[] {
  if (flags.tokenFile === undefined) return []
  const apply = () => {
    const entries = readTokens(flags, 0)
    replace(entries)
    const ended = server.tunnel.recheck()
    return `: ${entries.length} token${entries.length === 1 ? '' : 's'}${ended === 0 ? '' : `, ${ended} ended that are not allowed any more`}`
  }
  return [{ what: 'token file', files: [flags.tokenFile], apply }]
}
