-- What is loaded when Neovim starts, and no more: the command, and when the rest is needed.

if vim.g.loaded_ingle then
  return
end
vim.g.loaded_ingle = 1

if vim.fn.has('nvim-0.7') == 0 then
  vim.cmd([[echohl WarningMsg | echomsg 'ingle: needs Neovim 0.7 or newer' | echohl None]])
  return
end

vim.api.nvim_create_user_command('Ingle', function(given)
  require('ingle.command').run(given)
end, {
  nargs = '*',
  range = true,
  bang = true,
  desc = 'ingle: suggestions, chat and changes by a model on this machine',
  complete = function(...)
    return require('ingle.command').complete(...)
  end,
})

local group = vim.api.nvim_create_augroup('ingle', {})

vim.api.nvim_create_autocmd({ 'BufReadPost', 'BufNewFile', 'BufFilePost', 'InsertEnter' }, {
  group = group,
  desc = 'ingle: attach the language server',
  callback = function(event)
    -- Buffers that are read while Neovim starts have their turn at VimEnter.
    if vim.v.vim_did_enter == 1 then
      require('ingle.client').attach_soon(event.buf)
    end
  end,
})

vim.api.nvim_create_autocmd('VimEnter', {
  group = group,
  desc = 'ingle: attach the language server',
  callback = function()
    vim.schedule(function()
      for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
        require('ingle.client').attach_soon(buffer)
      end
    end)
  end,
})
