"""The examples of the security page that the whole system must make true, word for word."""

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

CREATE_SECRET = r"""curl -X POST "https://api.mixpeek.com/v1/organizations/secrets" \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "secret_name": "openai_api_key",
    "secret_value": "sk-proj-abc123..."
  }'"""
"""Storing a secret, word for word."""
