import type { Reporter, TestModule } from 'vitest/node';

/**
 * Ends a test run with one line, `N passed, N failed, N skipped`, so that a script can read the outcome from the
 * last line alone. What fails outside a test (a file that does not load, a hook, an unhandled rejection) counts as
 * failed: a run that is not green never reads "0 failed".
 */
export class ClosingLineReporter implements Reporter {
  #line: string | undefined;

  onInit(): void {
    // Coverage tables and thresholds are printed after onTestRunEnd; only at exit is the line really the last.
    process.once('exit', () => {
      if (this.#line !== undefined) process.stdout.write(`${this.#line}\n`);
    });
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0, pending: 0 };
    for (const module of modules) {
      count.failed += module.errors().length;
      for (const suite of module.children.allSuites()) count.failed += suite.errors().length;
      for (const test of module.children.allTests()) count[test.result().state]++;
    }
    this.#line = `${count.passed} passed, ${count.failed} failed, ${count.skipped + count.pending} skipped`;
  }
}
