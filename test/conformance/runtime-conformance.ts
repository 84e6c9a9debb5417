import type { Protocol } from '@pilum/core/spec/protocols.ts';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { keep } from '../support/kept.ts';
import { filesContract } from './files-contract.ts';
import { handlerContract } from './handler-contract.ts';
import { harmContract } from './harm-contract.ts';
import { closedHttpContract, httpContract } from './http-contract.ts';
import { interpreterContract } from './interpreter-contract.ts';
import { isolationContract } from './isolation-contract.ts';
import { lifeContract } from './life-contract.ts';
import { moduleContract } from './module-contract.ts';
import { roughContract } from './rough-contract.ts';
import { Bench, type RuntimeUnderTest } from './runtime-under-test.ts';
import { signalContract } from './signal-contract.ts';
import { stdioContract } from './stdio-contract.ts';
import { streamContract } from './stream-contract.ts';
import { wasiContract } from './wasi-contract.ts';

/** What every runtime has to do, by the protocols and the isolation that it declares. */
export function runtimeConformance(subject: RuntimeUnderTest): void {
  describe.skipIf(subject.unavailable !== null)(subject.title, () => {
    let bench: Bench;
    const current = () => bench;

    const kept = keep();
    beforeAll(async () => {
      bench = kept.add(await Bench.of(subject), ({ open }) => open.close());
    });
    afterEach(() => bench.clear());

    test('says that it can work, and how well it isolates', async () => {
      const status = await bench.open.runtime.check();
      expect(status).toMatchObject({ kind: bench.open.runtime.kind, available: true });
      expect(bench.open.runtime.capabilities.streaming).toBe(subject.streams);
      expect(status.isolation).toBe(subject.isolated ? 'sandbox' : 'none');
      if (!subject.isolated) expect(status.notes[0]).toContain('NO ISOLATION');
    });

    // A contract that a runtime does not declare is none of its own: there is nothing to skip.
    const has = (protocol: Protocol) => subject.protocols.includes(protocol);
    if (has('handler')) {
      describe('handler', () => handlerContract(current));
      describe('interpreter', () => interpreterContract(current));
      describe('rough edges', () => roughContract(current));
      describe('signal', () => signalContract(current));
      if (subject.streams) describe('stream', () => streamContract(current));
      describe('life and death', () => lifeContract(current, subject));
      if (subject.isolated) describe('isolation', () => isolationContract(current, subject));
    }
    if (has('stdio')) describe('stdio', () => stdioContract(current));
    if (has('http')) {
      describe('http', () => {
        httpContract(current);
        if (subject.isolated) closedHttpContract(current);
      });
    }
    describe('files', () => filesContract(current, subject, has));
    if (has('wasi')) {
      describe('wasi', () => wasiContract(current));
      describe('modules', () => moduleContract(current));
      describe('harm', () => harmContract(current));
    }
  });
}
