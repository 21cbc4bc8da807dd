/** A sleep that can be ended early; a wake that comes before it is not lost. */
export class Wakeable {
  #woken = false;
  #end: () => void = () => undefined;

  wake(): void {
    this.#woken = true;
    this.#end();
  }

  async sleep(ms: number): Promise<void> {
    if (!this.#woken) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#end = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#woken = false;
  }
}
