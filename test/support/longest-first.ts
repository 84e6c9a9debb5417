import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * What takes longest, by the beginning of its path. A fresh clone has no times of an earlier run to go by, and one long
 * file that begins last is all that runs at the end.
 */
const LONGEST = [
  'test/containers/',
  'test/conformance/docker',
  'test/conformance/process-sandbox',
  'test/chaos/short',
  'test/conformance/',
  'test/room/',
  'test/e2e/',
  'test/worker/',
];

/** Begins with the longest files. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const placeOf = ({ moduleId }: TestSpecification) => {
      const place = LONGEST.findIndex((beginning) => moduleId.includes(`/${beginning}`));
      return place < 0 ? LONGEST.length : place;
    };
    const sorted = await super.sort(files);
    return sorted.toSorted((a, b) => placeOf(a) - placeOf(b));
  }
}
