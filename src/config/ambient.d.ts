/** Of every host: names in their ASCII form (WHATWG URL §3.3, UTS 46). */
declare class URL {
  constructor(url: string)
  readonly hostname: string
}
