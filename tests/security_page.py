"""The example of the security page that the whole system must make true, word for word."""

LLM_STAGE = {
    "stage_type": "apply",
    "stage_id": "llm_enrich",
    "parameters": {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "prompt": "Summarize this document.",
        "output_field": "summary",
        "api_key": "{{secrets.openai_api_key}}",
    },
}
