import { describe, expect, it } from 'vitest';
import { answerHeaders } from '../../apps/api/src/endpoints/answer-head.ts';
import { confinedHeader } from '../../apps/api/src/endpoints/confined-header.ts';

const HOST = 'functions.example:8080';
const BASE = `http://${HOST}`;
const place = { prefix: '/fn/web', url: '/a/b?q=1', hosts: [HOST, '127.0.0.1:8080'], barred: [], cookiePrefix: 'c.' };
const WITHIN = /^\/fn\/web(?:$|[/?#])/;

/** Where a browser and curl go from an answer with this reference. */
const follow = (reference: string) => new URL(reference, `${BASE}/fn/web/a/b?q=1`);

/** Ways to say, at an address below `/fn/web`, what would be an address of the API. */
const ESCAPES = [
  '/fn/web/../../v1/artifacts/precious',
  '/fn/evil/../../v1/artifacts/precious',
  '../../v1/artifacts/precious',
  '../../../../../../v1/x',
  '..',
  './../../..//v1/x',
  '/%2e%2e/%2E%2e/v1/x',
  '.%2e/%2e./../v1/x',
  '/fn/web/%2e%2e/%2e%2e/v1/x',
  '\\v1\\x',
  '..\\..\\..\\v1\\x',
  '/fn/web\\..\\..\\v1/x',
  'http:/v1/x',
  'http:v1/x',
  'http:../../../v1/x',
  'HTTP:\\v1\\x',
  '\t/\tv1/x',
  ' /v1/x ',
  '.\t./.\t./../v1/x',
  '/fn/web?/../../v1',
  '/fn/webbed/x',
  `//${HOST}/v1/x`,
  `\\\\${HOST}\\v1\\x`,
  `/\t/${HOST}/v1/x`,
  `http://${HOST}/v1/x`,
  `http://${HOST.toUpperCase()}/v1/x`,
  `http:///${HOST}/v1/x`,
  `http:\\\\${HOST}/v1/x`,
  `https://${HOST}/v1/x`,
  `http://functions.example.:8080/v1/x`,
  `http://functions%2eexample:8080/v1/x`,
  `http://user:secret@${HOST}/v1/x`,
  'http://127.0.0.1:8080/v1/x',
  'http://2130706433:8080/v1/x',
  'http://0x7f.1:8080/v1/x',
  '',
  '?v1',
  '#v1',
  '.',
  '/',
];

describe('a reference that a function gives', () => {
  it.each(ESCAPES)('stays below its prefix: %j', (reference) => {
    for (const name of ['location', 'content-location', 'sourcemap']) {
      const said = confinedHeader(name, reference, place);
      expect(said).toMatch(WITHIN);
      const { host, pathname } = follow(said ?? '');
      expect([host, pathname]).toEqual([HOST, expect.stringMatching(WITHIN)]);
    }
    for (const value of [
      `0; url=${reference}`,
      `0;${reference}`,
      `5,URL = ${reference}`,
      `0 ${reference}`,
      `0; url='${reference}' and more`,
      `0;url="${reference}"`,
      `.5; url=${reference}`,
    ]) {
      const said = confinedHeader('refresh', value, place);
      // Nothing after the seconds: the page itself.
      if (said === null || /^\d+$/.test(said)) continue;
      const [, address = ''] = /^\d+; url=(.*)$/.exec(said) ?? [];
      expect(follow(address)).toMatchObject({ host: HOST, pathname: expect.stringMatching(WITHIN) });
    }
    const link = confinedHeader('link', `<${reference}>; rel=preload, <${reference}>;rel=stylesheet`, place) ?? '';
    for (const [, address = ''] of link.matchAll(/<([^>]*)>/g)) {
      expect(follow(address)).toMatchObject({ host: HOST, pathname: expect.stringMatching(WITHIN) });
    }
  });

  it.each([
    ['/fn/web%2f..', 'a proxy may decode it'],
    ['/..%2f..%2fv1/x', 'a proxy may decode it'],
    ['/a/..%5c..%5cv1', 'a proxy may decode it'],
    ['/..%252f..%252fv1', 'two may'],
    ['/%25252e%25252e/x', 'three may'],
    ['/..;/v1', 'servers leave out what follows a semicolon'],
    ['javascript:alert(1)', 'it runs where it is read'],
    ['http://[', 'it is none'],
  ])('is left out where %s: %s', (reference) => {
    expect(confinedHeader('location', reference, place)).toBeNull();
    expect(confinedHeader('refresh', `0; url=${reference}`, place)).toBeNull();
    expect(confinedHeader('link', `<${reference}>; rel=next`, place)).toBeNull();
  });

  it.each([
    ['https://elsewhere.example/v1/a?b#c', 'https://elsewhere.example/v1/a?b#c'],
    ['//elsewhere.example/a/../b', 'http://elsewhere.example/b'],
    ['/\\elsewhere.example/v1', 'http://elsewhere.example/v1'],
    ['https:/elsewhere.example', 'https://elsewhere.example/'],
    ['http://functions.example:9090/v1', 'http://functions.example:9090/v1'],
    ['app://opened/by?it', 'app://opened/by?it'],
    ['next', '/fn/web/a/next'],
    ['/fn/web/a?b=%2f..#c', '/fn/web/a?b=%2f..#c'],
    ['/a%2Fb', '/fn/web/a%2Fb'],
    ['/c..d/..e', '/fn/web/c..d/..e'],
    ['?page=2', '/fn/web/a/b?page=2'],
  ])('means what it says: %s is %s', (reference, expected) => {
    expect(confinedHeader('location', reference, place)).toBe(expected);
  });

  it('is relative to the path of the request, however that was written', () => {
    for (const url of ['//a/b', '//evil.example/b', '/\\\\evil.example', '/', '/?', '/http://evil.example/']) {
      expect(confinedHeader('location', '/v1/x', { ...place, url })).toBe('/fn/web/v1/x');
      expect(confinedHeader('location', '', { ...place, url })).toMatch(WITHIN);
      expect(confinedHeader('location', '/v1/x', { ...place, url, hosts: ['not a host'] })).toBe('/fn/web/v1/x');
    }
  });

  it('is of its own origin where it has one', () => {
    const own = { ...place, prefix: '', hosts: ['shop.example'], barred: [HOST], cookiePrefix: '' };
    expect(confinedHeader('location', '/v1/x', own)).toBe('/v1/x');
    expect(confinedHeader('location', 'https://shop.example/x', own)).toBe('/x');
    // It is one hop from the API, and a 307 takes method and body along.
    expect(confinedHeader('location', `http://${HOST}/v1/x`, own)).toBeNull();
    expect(confinedHeader('strict-transport-security', 'max-age=1', own)).toBe('max-age=1');
    expect(confinedHeader('x-sendfile', '/etc/passwd', own)).toBeNull();
    expect(confinedHeader('access-control-allow-origin', '*', own)).toBeNull();
    expect(confinedHeader('location', '/.//elsewhere.example', own)).toBe('/.//elsewhere.example');
    expect(confinedHeader('set-cookie', 'a=1; Path=/deep; Domain=example', own)).toBe('a=1; Path=/deep');
    expect(confinedHeader('set-cookie', 'a=1', own)).toBe('a=1');
  });
});

describe('what a function says of the whole origin', () => {
  it.each([
    ...['accept-ch', 'alt-svc', 'clear-site-data', 'nel', 'origin-agent-cluster', 'report-to', 'reporting-endpoints'],
    ...['service-worker-allowed', 'set-login', 'speculation-rules', 'strict-transport-security', 'use-as-dictionary'],
    ...['access-control-allow-origin', 'access-control-allow-credentials', 'access-control-max-age'],
    ...['attribution-reporting-register-source', 'secure-session-registration', 'set-cookie2'],
    ...['x-accel-redirect', 'x-sendfile', 'x-sendfile-temporary', 'x-lighttpd-send-file', 'x-litespeed-location'],
  ])('is left out, and named: %s', (name) => {
    const flat = answerHeaders(
      {
        status: 200,
        headers: [
          [name, 'x'],
          ['x-kept', 'y'],
        ],
      },
      { ...place, isHead: false },
      4,
      true,
    );
    expect(flat).toEqual(['x-kept', 'y', 'content-length', '4', 'pilum-removed-headers', name]);
  });

  it.each([
    ['a=1', 'c.a=1; Path=/fn/web'],
    ['a=1; Path=/', 'c.a=1; Path=/fn/web'],
    ['a=1; Path=/fn/web/..', 'c.a=1; Path=/fn/web/fn/'],
    ['a=1; Path=/fn/web/../../v1', 'c.a=1; Path=/fn/web/v1'],
    ['a=1; Path=/a; path=/; PATH=/v1', 'c.a=1; Path=/fn/web/v1'],
    ['a=1;\tPath\t= /v1', 'c.a=1; Path=/fn/web/v1'],
    ['a=1; Path=v1', 'c.a=1; Path=/fn/web'],
    ['a=1; Path', 'c.a=1; Path=/fn/web'],
    ['a=1; Path=/..%2fv1', 'c.a=1; Path=/fn/web'],
    ['a=1; Domain=.example; DOMAIN =functions.example; Secure', 'c.a=1; Secure; Path=/fn/web'],
    ['=a=1', 'c.=a=1; Path=/fn/web'],
    ['a', 'c.=a; Path=/fn/web'],
    ['  c.a = 1', 'c.c.a=1; Path=/fn/web'],
    ['__Host-a=1; Secure; Path=/', 'c.__Host-a=1; Secure; Path=/fn/web'],
  ])('is said of its own part: set-cookie %j', (cookie, expected) => {
    expect(confinedHeader('set-cookie', cookie, place)).toBe(expected);
  });

  it('has breaches of its policies reported to itself or elsewhere', () => {
    const policy =
      "default-src 'self'; report-uri /v1/x https://elsewhere.example/r; img-src *, REPORT-URI ../../../v1";
    for (const name of ['content-security-policy', 'content-security-policy-report-only']) {
      expect(confinedHeader(name, policy, place)).toBe(
        "default-src 'self'; report-uri /fn/web/v1/x https://elsewhere.example/r; img-src *, report-uri /fn/web/v1",
      );
      expect(confinedHeader(name, "script-src 'none'", place)).toBe("script-src 'none'");
    }
  });
});

it('an answer that comes in pieces is not to be collected by a proxy, unless it says so', () => {
  const flat = (headers: [string, string][], sizeBytes: number | null) =>
    answerHeaders({ status: 200, headers }, { ...place, isHead: false }, sizeBytes, true);
  expect(flat([], null)).toEqual(['x-accel-buffering', 'no']);
  expect(flat([['x-accel-buffering', 'yes']], null)).toEqual(['x-accel-buffering', 'yes']);
  expect(flat([], 4)).toEqual(['content-length', '4']);
});
