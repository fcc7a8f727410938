/** What people write, read into data: URLs, addresses, forwards, rules, tokens. No I/O; every refusal says the remedy. */
export {
  formatHostPort,
  type HostPort,
  isName,
  parseHost,
  parseHostPort,
  parseIPv4,
  parseIPv6,
  parsePort,
} from './address.ts'
export { parseDuration } from './duration.ts'
export {
  type Endpoint,
  type Forward,
  type ForwardTarget,
  formatEndpoint,
  formatForward,
  formatTarget,
  forwardTarget,
  isTargetName,
  parseTarget,
  plainTarget,
  type Target,
} from './forward.ts'
export { type Limit, type LimitTerms, parseLimit } from './limit.ts'
export {
  environmentProxy,
  formatProxyUrl,
  type ProxyLogin,
  type ProxyUrl,
  parseLogin,
  parseProxyUrl,
} from './proxy-url.ts'
export {
  canonicalName,
  type HostPattern,
  isFor,
  parseReverseRule,
  parseRule,
  type ReverseRule,
  type Rule,
} from './rule.ts'
export { parseForwards, type SpecOption } from './spec.ts'
export {
  checkToken,
  checkTokenName,
  formatTokenLine,
  MIN_TOKEN,
  parseClientToken,
  parseTokenFile,
  type TokenEntry,
  withoutToken,
} from './token-file.ts'
export { formatServerUrl, parseServerUrl, parseTemplate, type ServerUrl, targetPath } from './url.ts'
